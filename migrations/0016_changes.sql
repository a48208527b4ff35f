-- Changes: the column snapshot of a large session can have the splices that lead from the document of the version before
-- to the document of the row, instead of the document. docs/inside/drain.md describes the splices.
-- whole_version: the version whose row has the document from which the splices of all later rows, up to this row, lead to
-- the document of this row. It is null if the row has the document.
-- document_bytes: the number of bytes of the document. It is null if the row has the document.
-- Earlier releases insert rows without these columns.
ALTER TABLE sync_events
    ADD COLUMN whole_version bigint,
    ADD COLUMN document_bytes integer;

-- The document of a version, null if there is no such version. Use it for rows with a whole_version.
CREATE FUNCTION sync_document(of_session uuid, of_epoch text, of_version bigint) RETURNS bytea
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    document bytea;
    body     bytea;
    after    bytea;
    numbers  bigint[];
    line     integer;  -- bytes of the line of numbers with its end
    copied   bigint;   -- bytes of the document that are copied
    taken    bigint;   -- bytes of the body that are copied
BEGIN
    FOR body IN
        SELECT e.snapshot || ''::bytea -- read from disk and decompressed once
        FROM sync_events AS t
        JOIN sync_events AS e
            ON e.session_id = t.session_id AND e.epoch = t.epoch
            AND e.version BETWEEN coalesce(t.whole_version, t.version) AND t.version
        WHERE t.session_id = of_session AND t.epoch = of_epoch AND t.version = of_version
        ORDER BY e.version
    LOOP
        IF document IS NULL THEN
            document := body;
            CONTINUE;
        END IF;
        line := position('\x0a'::bytea IN body);
        numbers := string_to_array(rtrim(convert_from(substring(body FROM 1 FOR line - 1), 'UTF8')), ' ')::bigint[];
        IF numbers[1] <> length(document) THEN
            RAISE EXCEPTION 'the splices of a version before % are for another document', of_version;
        END IF;
        after := ''::bytea;
        copied := 0;
        taken := line;
        FOR at IN 2 .. cardinality(numbers) BY 3 LOOP
            after := after
                || substring(document FROM copied::integer + 1 FOR (numbers[at] - copied)::integer)
                || substring(body FROM taken::integer + 1 FOR numbers[at + 2]::integer);
            copied := numbers[at] + numbers[at + 1];
            taken := taken + numbers[at + 2];
        END LOOP;
        document := after || substring(document FROM copied::integer + 1);
    END LOOP;
    RETURN document;
END
$$;
