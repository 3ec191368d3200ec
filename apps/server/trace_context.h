// W3C Trace Context: the id under which a caller's tracing knows this request.
#pragma once

#include <string>
#include <string_view>

namespace gritstone {

// "00-<32 hex>-<16 hex>-<2 hex>" gives the 32 hex digits; anything else nothing.
std::string trace_id(std::string_view traceparent);

}  // namespace gritstone
