"""What is shown of a record: in the terminal, as HTML, on a card and in the leaderboard."""
