"""What a network costs: parameters, multiply-accumulates, milliseconds. For any nn.Module."""
