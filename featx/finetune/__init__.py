"""Fine-tuning: the top blocks of a network go on learning, the trunk below them runs once."""
