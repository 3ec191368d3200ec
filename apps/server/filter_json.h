// OpenAI's filters of a search: {"type":"eq","key":"author","value":"Ada"}, joined by {"type":"and","filters":[...]}.
#pragma once

#include <string>

#include "apps/server/request_json.h"
#include "index/filter.h"

namespace gritstone {

// The member `key` of a request as a Filter; empty if it is absent. Attributes named "path", "type", "after" and "before" are attributes
// like others here. Throws ApiError (400) naming the member: unknown type, missing key, a value of the wrong type, more than 64 conditions.
Filter parse_filters(const RequestFields& fields, const char* key);

}  // namespace gritstone
