"""Raw files in, typed bronze tables out; rows that break the contract go to quarantine, and counts add up."""
