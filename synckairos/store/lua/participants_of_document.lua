-- A library: finds the participants in a document, as members of the index of participants.
--
-- JSON texts in a document escape their quotes, so only member names match. A match in the metadata adds a member that
-- no reader looks for.

-- Iterate over the ZADD arguments `0, '<participant name> <session name>', …` in lists that are short enough for `unpack`.
-- A name is the id, with `<tenant>/` before it unless it is the default tenant.
local function slices_of_participants(document, session_name)
  local prefix = string.match(session_name, '^[^/]*/') or ''
  local next_id = string.gmatch(document, '"participant_id":"([%x-]+)"')
  return function()
    local members = {}
    while #members < 2000 do
      local id = next_id()
      if not id then break end
      members[#members + 1] = 0
      members[#members + 1] = prefix .. id .. ' ' .. session_name
    end
    if #members > 0 then return #members, members end
  end
end
