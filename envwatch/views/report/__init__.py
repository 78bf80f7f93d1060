"""What is handed over to people in a chat: the report on a period (values, Markdown, JSON), and a sentence.

Pure.
"""
