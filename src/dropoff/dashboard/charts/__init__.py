"""What is drawn on pages: options of ECharts and small lines as SVG, as pure functions of answers."""
