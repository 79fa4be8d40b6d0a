"""Figures about speed and accuracy, each measured by one command; see README.md."""
