-- What became of attempts at background jobs, ever; only grows, while jobs that ended are forgotten.
CREATE TABLE job_tally (
    type     text   NOT NULL,
    outcome  text   NOT NULL CHECK (outcome IN ('done', 'failed', 'died')),
    attempts bigint NOT NULL,
    busy_ms  bigint NOT NULL,
    PRIMARY KEY (type, outcome)
);
