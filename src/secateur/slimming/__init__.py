"""Remove what is dead, physically, and prove that the output stays. For any nn.Module."""
