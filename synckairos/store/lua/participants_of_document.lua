-- A library: the participants that a document names, as members of the outbox's index of participants.
--
-- Text in a document escapes its quotes, so only member names match. A match in the metadata adds a member that no
-- reader looks for.

-- Iterate over lists of arguments for ZADD, `0, '<participant id> <session id>', …`, which `unpack` can hold.
local function slices_of_participants(document, session_id)
  local next_id = string.gmatch(document, '"participant_id":"([%x-]+)"')
  return function()
    local members = {}
    while #members < 2000 do
      local id = next_id()
      if not id then break end
      members[#members + 1] = 0
      members[#members + 1] = id .. ' ' .. session_id
    end
    if #members > 0 then return #members, members end
  end
end
