// The headers column: one JSON object, header name to value. A value is a string, or
// {"base64": "…"} for bytes that are no plain text, or an array of these for a repeated name. Null,
// numbers and anything else are refused: nobody could say which bytes they mean.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/model/message.h"
#include "protocol/model/reply.h"

struct sqlite3;

namespace waybill {

/// "wb-" headers are the broker's; only it and the relay set them (S26).
bool is_reserved_header(std::string_view name);

std::string encode_row_headers(std::span<const Header> headers);
/// Reads with SQLite's own JSON functions, on `db`. Errors: kInvalidBatch with a sentence.
Reply<std::vector<Header>> decode_row_headers(sqlite3* db, std::string_view json);

}  // namespace waybill
