"""Promotion: verdict -> dark -> shadow -> canary -> release -> verified -> kept, or back to the old model."""
