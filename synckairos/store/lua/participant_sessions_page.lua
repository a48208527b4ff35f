-- Read a page of a participant's set with the data of its sessions, and the data of other sessions.
--
-- KEYS  1 set, or any key if no page is read  2… two for each other session: summary, session
-- ARGV  1 participant id  2 maximum number of sessions on the page (0: no page is read, ARGV 3 to 12 are absent)
--       3 the highest score to read
--       All keys of a call are in one partition, so these belong to the partition of the set:
--       4 the part of a summary's key before the session id  5 the same part of a session's key
--       6 the participant's ready rows  7 outbox  8 failed entries
--       9 ms that ready rows stay  10 ms that a summary stays  11 maximum number of ready rows
--       12 maximum bytes of a ready row
-- Returns {time, instant in ms since which the set is complete, TTL of the set in ms, `id score …`, rows, others}.
-- The instant is nil if the set is missing or being filled. `rows` has a line for each session: its row as JSON. The
-- line is empty if a value in the row changes by time, or if Redis has another version than the summary. For each
-- session with an empty line, `others` has {position, facts, metadata, part, epoch, version, deleted, due, document,
-- audited}. The document is empty unless the session runs or its version differs from the summary. (One text is
-- written and parsed much faster than a list.)
--
-- A ready row is rendered from a summary and the participant's part, and is removed with the summary
-- (`session_summary_write`). It is valid as long as no version of its session is in the outbox.

local MAX_SCANNED = 16 -- maximum number of outbox entries to scan; with more entries, each session is read

local part_field = 'p:' .. ARGV[1]

local others = {}

-- Return the row of a session as JSON. If that is not possible, add the data of the session to `others` and return ''.
local function read(summary_key, session_key)
  local summary = redis.call('HMGET', summary_key, 'of', 'still', part_field)
  local live = redis.call('HMGET', session_key, 'epoch', 'version')
  local position = live[1] and live[1] .. ' ' .. live[2]
  if summary[2] and summary[2] ~= '' and summary[3] and (not position or position == summary[1]) then
    local head, middle, tail = string.match(summary[2], '^([^\n]*)\n([^\n]*)\n(.*)$')
    local used, cycles = string.match(summary[3], '^(%d+) (%d+)$')
    return head .. used .. middle .. cycles .. tail
  end
  local content = redis.call('HMGET', summary_key, 'facts', 'metadata')
  local more = redis.call('HMGET', session_key, 'deleted', 'due', 'audited', 'status')
  local document = ''
  if position and (more[4] == 'running' or position ~= summary[1]) then
    document = redis.call('HGET', session_key, 'state')
  end
  others[#others + 1] = {
    summary[1], content[1], content[2], summary[3], live[1], live[2], more[1], more[2], document, more[3]
  }
  return ''
end

-- Return the ids of sessions with versions in the outbox as a set, or nil if there are too many entries to scan.
local function sessions_in_outbox()
  local length = redis.call('XLEN', ARGV[7])
  if length > MAX_SCANNED or redis.call('EXISTS', ARGV[8]) == 1 then return nil end
  local ids = {}
  if length > 0 then
    for _, entry in ipairs(redis.call('XRANGE', ARGV[7], '-', '+')) do
      for at = 1, #entry[2], 2 do
        if entry[2][at] == 'session_id' then ids[entry[2][at + 1]] = true end
      end
    end
  end
  return ids
end

local page, complete, ttl, rows = {}, false, 0, {}
if ARGV[2] ~= '0' then
  complete = redis.call('ZSCORE', KEYS[1], '!whole')
  if complete then
    ttl = redis.call('PTTL', KEYS[1])
    page = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[3], 0, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
  end
end
if #page > 0 then
  local ids = {}
  for at = 1, #page, 2 do ids[#ids + 1] = page[at] end
  local in_outbox = sessions_in_outbox()
  local ready = in_outbox and redis.call('HMGET', ARGV[6], unpack(ids)) or {}
  local made = {}
  for at, id in ipairs(ids) do
    local row = ready[at]
    if row and not in_outbox[id] then
      rows[at] = row
    else
      rows[at] = read(ARGV[4] .. id, ARGV[5] .. id)
      if rows[at] ~= '' and #rows[at] <= tonumber(ARGV[12]) then
        made[#made + 1] = id
        made[#made + 1] = rows[at]
      end
    end
  end
  if in_outbox and #made > 0 then
    -- With pcall, a Redis that is full or cannot write still returns the page. The TTLs of the summaries are extended
    -- first, because a ready row must not stay longer than its summary.
    local extended = true
    for at = 1, #made, 2 do
      local done = redis.pcall('PEXPIRE', ARGV[4] .. made[at], ARGV[10])
      extended = extended and done == 1
    end
    if extended then
      if redis.call('HLEN', ARGV[6]) + #made / 2 > tonumber(ARGV[11]) then redis.pcall('DEL', ARGV[6]) end
      redis.pcall('HSET', ARGV[6], unpack(made))
      if redis.call('PTTL', ARGV[6]) == -1 then redis.pcall('PEXPIRE', ARGV[6], ARGV[9]) end
    end
  end
end
for at = 2, #KEYS, 2 do rows[#rows + 1] = read(KEYS[at], KEYS[at + 1]) end
return {redis.call('TIME'), complete, ttl, table.concat(page, ' '), table.concat(rows, '\n'), others}
