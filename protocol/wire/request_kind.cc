#include "protocol/wire/request_kind.h"

#include <algorithm>
#include <array>

namespace waybill {
namespace {

constexpr bool kYes = true;
constexpr bool kNo = false;

// kind, name, answered, pushed, idempotent, right
constexpr auto kFacts = std::to_array<RequestKindFacts>({
    {RequestKind::kHello, "hello", kYes, kNo, kNo, Right::kNone},
    {RequestKind::kPing, "ping", kYes, kNo, kYes, Right::kNone},
    {RequestKind::kMetadata, "metadata", kYes, kNo, kYes, Right::kNone},
    {RequestKind::kCreateTopic, "create_topic", kYes, kNo, kYes, Right::kAdmin},
    {RequestKind::kDescribeTopic, "describe_topic", kYes, kNo, kYes, Right::kNone},
    {RequestKind::kDeleteTopic, "delete_topic", kYes, kNo, kNo, Right::kAdmin},
    {RequestKind::kAlterTopic, "alter_topic", kYes, kNo, kYes, Right::kAdmin},
    {RequestKind::kOpenProducer, "open_producer", kYes, kNo, kYes, Right::kPublish},
    {RequestKind::kPublish, "publish", kYes, kNo, kNo, Right::kPublish},
    {RequestKind::kListProducers, "list_producers", kYes, kNo, kYes, Right::kAdmin},
    {RequestKind::kRemoveProducer, "remove_producer", kYes, kNo, kNo, Right::kAdmin},
    {RequestKind::kRead, "read", kYes, kNo, kYes, Right::kConsume},
    {RequestKind::kCreateGroup, "create_group", kYes, kNo, kYes, Right::kAdmin},
    {RequestKind::kAlterGroup, "alter_group", kYes, kNo, kYes, Right::kAdmin},
    {RequestKind::kDeleteGroup, "delete_group", kYes, kNo, kNo, Right::kAdmin},
    {RequestKind::kDescribeGroup, "describe_group", kYes, kNo, kYes, Right::kNone},
    {RequestKind::kPauseGroup, "pause_group", kYes, kNo, kYes, Right::kAdmin},
    {RequestKind::kSetBrake, "set_brake", kYes, kNo, kYes, Right::kAdmin},
    {RequestKind::kResetGroup, "reset_group", kYes, kNo, kNo, Right::kAdmin},
    {RequestKind::kCheckGroup, "check_group", kYes, kNo, kYes, Right::kAdmin},
    {RequestKind::kSubscribe, "subscribe", kYes, kNo, kNo, Right::kConsume},
    {RequestKind::kUnsubscribe, "unsubscribe", kYes, kNo, kNo, Right::kConsume},
    {RequestKind::kCredit, "credit", kNo, kNo, kNo, Right::kConsume},
    {RequestKind::kDeliver, "deliver", kNo, kYes, kNo, Right::kNone},
    {RequestKind::kSettle, "settle", kYes, kNo, kYes, Right::kConsume},
    {RequestKind::kExtend, "extend", kYes, kNo, kYes, Right::kConsume},
    {RequestKind::kRevoke, "revoke", kNo, kYes, kNo, Right::kNone},
    {RequestKind::kListDeadLetters, "list_dead_letters", kYes, kNo, kYes, Right::kView},
    {RequestKind::kShowDeadLetter, "show_dead_letter", kYes, kNo, kYes, Right::kView},
    {RequestKind::kEditDeadLetter, "edit_dead_letter", kYes, kNo, kNo, Right::kFix},
    {RequestKind::kRedrive, "redrive", kYes, kNo, kNo, Right::kRedrive},
    {RequestKind::kDiscard, "discard", kYes, kNo, kYes, Right::kDiscard},
});

static_assert(std::ranges::is_sorted(kFacts, std::ranges::less_equal{}, &RequestKindFacts::kind));

}  // namespace

std::span<const RequestKindFacts> all_request_kinds() {
  return kFacts;
}

const RequestKindFacts* find_request_kind(RequestKind kind) {
  const auto* found = std::ranges::lower_bound(kFacts, kind, {}, &RequestKindFacts::kind);
  return found != kFacts.end() && found->kind == kind ? found : nullptr;
}

std::string_view name(RequestKind kind) {
  const RequestKindFacts* facts = find_request_kind(kind);
  return facts ? facts->name : "unknown";
}

}  // namespace waybill
