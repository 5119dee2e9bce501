"""Trained methods as portable programs, and the HTTP service that answers from them."""
