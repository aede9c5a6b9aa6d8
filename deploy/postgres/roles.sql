-- Roles for whoever reads the rosters, for the pipeline, and for operators: each may do what it needs, and
-- nothing else. docs/security.md says why.
--
--   psql --dbname=rosters --file=deploy/postgres/roles.sql
--
-- Run it as the owner of the tables or as a superuser, after `roster-pipeline db upgrade`, and again after each
-- later one: a view that is made anew has lost what was granted on it. Run again, it changes nothing.
--
-- These roles cannot log in. Give each program a login of its own that is a member of one of them:
--
--   CREATE ROLE filter_app LOGIN PASSWORD '...' IN ROLE roster_filter;
--
-- Readers have no right on any table. The views current_* read with the rights of their owner
-- (security_invoker is off, as it is unless somebody turns it on), so what is granted here is all there is.

BEGIN;

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY[
        'roster_filter', 'roster_classroom', 'roster_parents', 'roster_sync', 'roster_operator'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
    -- Nobody makes a temporary table or function but the pipeline, which stages what it publishes.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO roster_sync', current_database());
END
$$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA public
    FROM PUBLIC, roster_filter, roster_classroom, roster_parents, roster_sync, roster_operator;
GRANT USAGE ON SCHEMA public
    TO roster_filter, roster_classroom, roster_parents, roster_sync, roster_operator;

-- The web filter: who is at which school and in which class. The e-mail address and the username are what
-- people sign in with. No phone numbers, no student numbers, no families.
GRANT SELECT ON current_schools, current_memberships TO roster_filter;
GRANT SELECT (
    tenant, person_id, given_name, family_name, preferred_given_name, preferred_family_name,
    email, username, grades, roles, enabled, inactive_since, merged_into
) ON current_people TO roster_filter;

-- The classroom manager: besides, the classes and their sessions.
GRANT SELECT ON current_schools, current_memberships, current_classes, current_academic_sessions
    TO roster_classroom;
GRANT SELECT (
    tenant, person_id, given_name, family_name, preferred_given_name, preferred_family_name,
    email, username, grades, roles, enabled, inactive_since, merged_into
) ON current_people TO roster_classroom;

-- The parent app: whose guardian somebody is, and how to reach them. No classes, no student numbers.
GRANT SELECT ON current_schools, current_guardian_links TO roster_parents;
GRANT SELECT (
    tenant, person_id, given_name, family_name, preferred_given_name, preferred_family_name,
    email, phone, sms, roles, enabled, inactive_since, merged_into
) ON current_people TO roster_parents;

-- The pipeline: every row, and no table. It cannot change the schema; `db upgrade` is run by the owner.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO roster_sync;
REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM roster_sync;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO roster_sync;

-- Operators who read the ledger: what syncs told, what waits, what was decided. Nothing of people.
GRANT SELECT ON syncs, sync_providers, sync_schools, sync_issues, holds, decisions, providers, current_schools,
    night_ends, missed_nights, hosts, durations, alert_conditions, alert_messages, alert_channels
    TO roster_operator;
GRANT SELECT (receipt_id, tenant, at, who, why, erased, lifted_at) ON receipts TO roster_operator;

COMMIT;
