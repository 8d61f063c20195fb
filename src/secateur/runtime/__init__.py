"""What makes a CPU fast: memory, denormal numbers, fused operators."""
