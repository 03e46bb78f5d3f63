"""Files become something callable: repositories, models, sessions."""
