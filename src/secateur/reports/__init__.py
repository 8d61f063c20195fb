"""What a person looks at: tables, plots and run summaries."""
