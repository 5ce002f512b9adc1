"""The bot's messages: what followed each, which texts are one, and which do best."""
