-- How did the last runs end, and how long did they take?
-- :most number = 20: so many runs
select
    run_id,
    command,
    version,
    started_utc,
    epoch(finished_utc - started_utc) as seconds,
    exit_code
from runs
order by finished_utc desc, run_id
limit $most::bigint;
