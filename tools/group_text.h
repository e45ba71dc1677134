// How a group's policy and state read as text.
#pragma once

#include <string>

#include "protocol/model/catalog.h"
#include "protocol/model/group_policy.h"

namespace waybill::cli {

/// Several lines, indented.
std::string policy_text(const GroupPolicy& policy);
/// What stops the group, a line each; nothing for one that delivers and whose brake is automatic.
std::string state_text(const GroupInfo& group);
/// In a word or two: "delivers", "paused", "brake open", "archive".
std::string state_name(const GroupInfo& group);
/// "earliest", "offset 17", "2026-03-01T12:30:00.000Z"
std::string start_text(const GroupStart& start);

}  // namespace waybill::cli
