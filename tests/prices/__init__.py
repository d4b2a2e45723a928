"""Prices: asked for, kept, chosen and chosen again."""
