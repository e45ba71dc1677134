// What -o json and -o jsonl print: the broker's answers as JSON on one line. Names of fields are an
// interface for scripts: they may be added, not changed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/delivery.h"
#include "client/outbox/status.h"
#include "client/publish_receipt.h"
#include "protocol/model/requests.h"

namespace waybill::cli {

std::string to_json(const TopicInfo& topic);
std::string to_json(const DescribeTopicReply& reply);
std::string to_json(const GroupInfo& group, std::string_view topic);
std::string to_json(const DescribeGroupReply& reply);
/// {"group":"billing","agrees":true,"partitions":[{"partition":0,"kept":{…},"counted":{…}}]}
std::string to_json(const CheckGroupReply& reply, std::string_view group, bool agrees);
/// {"group":"billing","done":false,"partitions":[…]}
std::string to_json(const ResetGroupReply& reply, bool done);
std::string to_json(const ProducerInfo& producer, const Catalog& catalog);
std::string to_json(const PublishReceipt& receipt, std::string_view topic);
std::string to_json(const DeadLetterSummary& dead_letter, std::string_view group);
std::string to_json(const ShowDeadLetterReply& reply, std::string_view group);
/// {"fingerprints":[…],"dead_letters":[…],"more":false}
std::string dead_letters_json(const std::vector<FingerprintCount>& fingerprints,
                              const std::vector<DeadLetterSummary>& dead_letters, bool more,
                              std::string_view group);
std::string to_json(const OutboxStatus& status);
std::string to_json(const RelayStatus& status);

/// {"id":"billing/0-3","diff":"…"}
std::string diff_json(std::string_view id, std::string_view diff);
/// {"id":"billing/0-3","version":1}
std::string version_json(std::string_view id, std::uint32_t version);

/// {"user":"anna","token":"…","line":"anna … view fix"}; without a token that is empty.
std::string token_json(std::string_view user, std::string_view token, std::string_view line);
/// What a command did: {"deleted":"orders"}.
std::string done_json(std::string_view verb, std::string_view name);
/// {"<verb>":3,"skipped":1}
std::string count_json(std::string_view verb, std::uint64_t count, std::uint64_t skipped);
/// How one message was settled.
std::string settled_json(const Delivery& delivery, const SettleOptions& settle);

/// What a settlement means to a person: "ack", "retry", "invalid", "dead_letter", "release".
std::string_view settle_name(const SettleOptions& settle);

}  // namespace waybill::cli
