"""Fine-tuning: train the top blocks of a network; run the trunk below them once."""
