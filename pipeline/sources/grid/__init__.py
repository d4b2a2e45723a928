"""Carbon intensity of electricity: one file a provider."""
