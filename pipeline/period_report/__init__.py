"""`carbon-etl report`: the figures of a period, what changed and how good they are, as one page, table or document."""
