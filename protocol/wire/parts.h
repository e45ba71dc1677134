// Shared by the codec_*.cc: the pieces that several messages contain, to and from protobuf. This
// header knows protobuf only by name.
#pragma once

#include "protocol/model/requests.h"
#include "protocol/wire/meta_decoder.h"

namespace waybill::wire {
class ErrorReply;
class Failure;
class Group;
class GroupPolicy;
class GroupStart;
class Topic;
class TopicPolicy;
}  // namespace waybill::wire

namespace waybill {

/// Codes that do not travel become kOutcomeUnknown; the explanation is cut.
void to_wire(const RequestError& error, wire::ErrorReply& message);
RequestError from_wire(MetaDecoder& in, const wire::ErrorReply& message);

void to_wire(const TopicPolicy& policy, wire::TopicPolicy& message);
TopicPolicy from_wire(MetaDecoder& in, const wire::TopicPolicy& message);
void to_wire(const TopicInfo& topic, wire::Topic& message);
TopicInfo from_wire(MetaDecoder& in, const wire::Topic& message);

void to_wire(const GroupPolicy& policy, wire::GroupPolicy& message);
GroupPolicy from_wire(MetaDecoder& in, const wire::GroupPolicy& message);
void to_wire(const GroupStart& start, wire::GroupStart& message);
GroupStart from_wire(MetaDecoder& in, const wire::GroupStart& message);
void to_wire(const GroupInfo& group, wire::Group& message);
GroupInfo from_wire(MetaDecoder& in, const wire::Group& message);

/// Code and detail are cut to their limits on both sides.
void to_wire(const Failure& failure, wire::Failure& message);
Failure from_wire(MetaDecoder& in, const wire::Failure& message);

}  // namespace waybill
