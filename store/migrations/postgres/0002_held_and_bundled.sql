-- An alert may be held by another one that speaks for it, and one push may tell of many alerts.

ALTER TABLE decisions DROP CONSTRAINT decisions_phase_check, DROP CONSTRAINT decisions_outcome_check;
ALTER TABLE decisions
    ADD CONSTRAINT decisions_phase_check CHECK (phase IN ('opening', 'held', 'closing', 'quiet')),
    ADD CONSTRAINT decisions_outcome_check
        CHECK (outcome IN ('pushed', 'joined', 'inhibited', 'shadow', 'digest', 'not_due', 'gone'));

-- Pushes (ids) that must have been delivered, or have failed, before this one may go.
ALTER TABLE outbox ADD COLUMN after text[] NOT NULL DEFAULT '{}';
