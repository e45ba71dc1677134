// The names people use for dead letters: "<group>/<partition>-<n>" for one, sixteen hexadecimal
// digits for a fingerprint.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/base/ids.h"
#include "tools/problem.h"

namespace waybill::cli {

std::string dead_letter_name(std::string_view group, const DeadLetterId& id);
/// Accepts "<partition>-<n>" too. The group in the text must be `group`; `group_id` goes into the
/// id.
Checked<DeadLetterId> parse_dead_letter_name(std::string_view text, std::string_view group,
                                             GroupId group_id);
/// The group of a full name, or nothing.
std::string_view group_of_dead_letter_name(std::string_view text);

std::string fingerprint_text(std::uint64_t fingerprint);
Checked<std::uint64_t> parse_fingerprint(std::string_view text);

}  // namespace waybill::cli
