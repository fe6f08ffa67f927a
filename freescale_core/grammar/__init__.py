"""The small languages that people type into widgets: which blocks, and which stages. Errors say what would be right."""
