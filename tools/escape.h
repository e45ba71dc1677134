// Makes text that came from users safe to show (D18): a payload or a failure's detail must not be
// able to move the cursor, recolour the terminal, or pretend to be our own output.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/base/bytes.h"

namespace waybill::cli {

/// Valid UTF-8 (no overlong forms, no surrogates).
bool is_utf8(std::string_view text);
/// Valid UTF-8 without control characters other than tab, newline and carriage return: what people
/// call text, and what JSON can carry as a string that is still readable.
bool is_text(std::string_view text);

/// On one line: control characters, invalid bytes and characters that change the direction of
/// writing become \n, \t, \x1b, \u{202e}; a backslash stays as it is.
std::string escaped_line(std::string_view text);
/// As escaped_line, but newlines and tabs stay.
std::string escaped_text(std::string_view text);
/// Each line of a text behind `margin`, so that none can pass for a line of ours; ends with a
/// newline unless there is no text.
std::string indented(std::string_view text, std::string_view margin);
/// A JSON text in which what a terminal would obey is \uXXXX: the same JSON, shown safely. Bytes
/// that are not UTF-8 become U+FFFD, since JSON has no others.
std::string escaped_json(std::string_view json);
/// escaped_line cut to `columns` characters, ending with "…" if it was cut.
std::string shortened(std::string_view text, std::size_t columns);
/// What a person sees of a key or value: text escaped, anything else as "0x…" (shortened).
std::string shown_bytes(const std::optional<ByteVector>& bytes, std::size_t columns);

/// "00000000  48 65 6c 6c 6f  …  |Hello|", 16 bytes per line.
std::string hex_dump(Bytes bytes);

/// The number of terminal columns `text` takes, counting each character as one.
std::size_t columns_of(std::string_view text);

}  // namespace waybill::cli
