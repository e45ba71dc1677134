#include "protocol/wire/request_kind.h"

#include <algorithm>
#include <array>

namespace waybill {
namespace {

constexpr bool kYes = true;
constexpr bool kNo = false;

// kind, name, answered, pushed, idempotent
constexpr auto kFacts = std::to_array<RequestKindFacts>({
    {RequestKind::kHello, "hello", kYes, kNo, kNo},
    {RequestKind::kPing, "ping", kYes, kNo, kYes},
    {RequestKind::kMetadata, "metadata", kYes, kNo, kYes},
    {RequestKind::kCreateTopic, "create_topic", kYes, kNo, kYes},
    {RequestKind::kDescribeTopic, "describe_topic", kYes, kNo, kYes},
    {RequestKind::kDeleteTopic, "delete_topic", kYes, kNo, kNo},
    {RequestKind::kOpenProducer, "open_producer", kYes, kNo, kYes},
    {RequestKind::kPublish, "publish", kYes, kNo, kNo},
    {RequestKind::kListProducers, "list_producers", kYes, kNo, kYes},
    {RequestKind::kRemoveProducer, "remove_producer", kYes, kNo, kNo},
    {RequestKind::kRead, "read", kYes, kNo, kYes},
    {RequestKind::kCreateGroup, "create_group", kYes, kNo, kYes},
    {RequestKind::kAlterGroup, "alter_group", kYes, kNo, kYes},
    {RequestKind::kDeleteGroup, "delete_group", kYes, kNo, kNo},
    {RequestKind::kDescribeGroup, "describe_group", kYes, kNo, kYes},
    {RequestKind::kPauseGroup, "pause_group", kYes, kNo, kYes},
    {RequestKind::kSetBrake, "set_brake", kYes, kNo, kYes},
    {RequestKind::kResetGroup, "reset_group", kYes, kNo, kNo},
    {RequestKind::kCheckGroup, "check_group", kYes, kNo, kYes},
    {RequestKind::kSubscribe, "subscribe", kYes, kNo, kNo},
    {RequestKind::kUnsubscribe, "unsubscribe", kYes, kNo, kNo},
    {RequestKind::kCredit, "credit", kNo, kNo, kNo},
    {RequestKind::kDeliver, "deliver", kNo, kYes, kNo},
    {RequestKind::kSettle, "settle", kYes, kNo, kYes},
    {RequestKind::kExtend, "extend", kYes, kNo, kYes},
    {RequestKind::kRevoke, "revoke", kNo, kYes, kNo},
    {RequestKind::kListDeadLetters, "list_dead_letters", kYes, kNo, kYes},
    {RequestKind::kShowDeadLetter, "show_dead_letter", kYes, kNo, kYes},
    {RequestKind::kEditDeadLetter, "edit_dead_letter", kYes, kNo, kNo},
    {RequestKind::kRedrive, "redrive", kYes, kNo, kNo},
    {RequestKind::kDiscard, "discard", kYes, kNo, kYes},
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
