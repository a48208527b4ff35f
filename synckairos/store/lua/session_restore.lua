-- Restore an evicted session unchanged, unless Redis has the session. In that case another instance restored it or
-- created it again.
--
-- uses write_replacing_invalid
-- uses participants_of_document
--
-- KEYS  1 session  2 idempotency records  3 deadlines  4 unfinished sessions  5 participants
-- ARGV  1 session name  2 schema  3 epoch  4 version  5 status  6 deleted (0/1)  7 due ms ('' if none)  8 document
--       9 creation instant in ms ('' if final)  10 TTL in ms
--       11… two for each idempotency record: command id, idempotency record
-- Returns {seconds, microseconds, epoch, version, deleted, due, document, audited, tag} of the session in Redis.

local RECORDS_MS = 604800000 -- a week, for the records of a session that is not final

if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'schema', ARGV[2], 'epoch', ARGV[3], 'version', ARGV[4], 'status', ARGV[5],
    'deleted', ARGV[6], 'due', ARGV[7], 'state', ARGV[8], 'audited', ARGV[4])
  redis.call('PEXPIRE', KEYS[1], ARGV[10])
  for at = 11, #ARGV, 2 do redis.call('HSETNX', KEYS[2], ARGV[at], ARGV[at + 1]) end
  -- A session that is not final keeps its records for a week or as long as the session, as after a commit.
  redis.call('PEXPIRE', KEYS[2], ARGV[9] == '' and ARGV[10] or math.max(RECORDS_MS, tonumber(ARGV[10])))
  if ARGV[7] ~= '' then redis.call('ZADD', KEYS[3], ARGV[7], ARGV[1]) end
  if ARGV[9] ~= '' then redis.call('ZADD', KEYS[4], ARGV[9], ARGV[1]) end
  if ARGV[5] == 'running' then
    for _, members in slices_of_participants(ARGV[8], ARGV[1]) do write('ZADD', KEYS[5], unpack(members)) end
    redis.call('HSET', KEYS[1], 'indexed', '1')
  end
end
local time = redis.call('TIME')
local found = redis.call('HMGET', KEYS[1], 'epoch', 'version', 'deleted', 'due', 'state', 'audited', 'tag')
return {time[1], time[2], unpack(found, 1, 7)}
