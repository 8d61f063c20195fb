"""Search for the rates of groups: spaces, objectives, and a study that many processes share."""
