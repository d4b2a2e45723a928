"""Clusters whose samples lie in several servers."""
