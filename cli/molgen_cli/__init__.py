"""The command `molgen`: one file per verb."""
