"""Pages for people: server-rendered tables and links; JavaScript only draws the charts."""
