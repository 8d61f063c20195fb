"""Face recognisers: networks, identification heads, their weights and the LightningModule."""
