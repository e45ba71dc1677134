// Hello, ping and topics.
#include "protocol/wire/codec.h"
#include "protocol/wire/parts.h"
#include "waybill.pb.h"

namespace waybill {

// --- hello, ping ---

void encode(const HelloRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::HelloRequest message;
  message.set_min_version(value.min_version);
  message.set_max_version(value.max_version);
  message.set_features(value.features);
  set_uuid(value.instance.uuid, *message.mutable_instance());
  message.set_instance_start(value.instance_start);
  message.set_client_name(value.client_name);
  message.set_user(value.user);
  message.set_token(value.token);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, HelloRequest& out) {
  wire::HelloRequest message;
  MetaDecoder in(meta, body, message);
  out.min_version = in.number<std::uint8_t>("min_version", message.min_version(), 1, UINT8_MAX);
  out.max_version =
      in.number<std::uint8_t>("max_version", message.max_version(), out.min_version, UINT8_MAX);
  out.features = message.features();
  out.instance = {in.uuid("instance", message.instance())};
  out.instance_start = message.instance_start();
  out.client_name = in.text("client_name", message.client_name());
  out.user = in.text("user", message.user(), limits::kMaxNameLength);
  out.token = in.text("token", message.token(), limits::kMaxToken);
  return in.finish();
}

void encode(const HelloReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::HelloReply message;
  message.set_version(value.version);
  message.set_features(value.features);
  message.set_broker_version(value.broker_version);
  set_uuid(value.broker_id, *message.mutable_broker_id());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, HelloReply& out) {
  wire::HelloReply message;
  MetaDecoder in(meta, body, message);
  out.version = in.number<std::uint8_t>("version", message.version(), 1, UINT8_MAX);
  out.features = message.features();
  out.broker_version = in.text("broker_version", message.broker_version());
  out.broker_id = in.uuid("broker_id", message.broker_id());
  return in.finish();
}

void encode(const PingRequest&, ByteVector&, std::vector<SharedBytes>&) {}

Reply<void> decode(Bytes meta, const SharedBytes& body, PingRequest&) {
  wire::PingRequest message;
  MetaDecoder in(meta, body, message);
  return in.finish();
}

void encode(const PingReply&, ByteVector&, std::vector<SharedBytes>&) {}

Reply<void> decode(Bytes meta, const SharedBytes& body, PingReply&) {
  wire::PingReply message;
  MetaDecoder in(meta, body, message);
  return in.finish();
}

// --- topics ---

void encode(const MetadataRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::MetadataRequest message;
  for (const std::string& topic : value.topics) message.add_topics(topic);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, MetadataRequest& out) {
  wire::MetadataRequest message;
  MetaDecoder in(meta, body, message);
  in.each("topics", message.topics(), 0, limits::kMaxTopics,
          [&](const std::string& name) { out.topics.push_back(in.required_name("name", name)); });
  return in.finish();
}

void encode(const MetadataReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::MetadataReply message;
  message.set_version(value.catalog.version);
  for (const TopicInfo& topic : value.catalog.topics) to_wire(topic, *message.add_topics());
  for (const GroupInfo& group : value.catalog.groups) to_wire(group, *message.add_groups());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, MetadataReply& out) {
  wire::MetadataReply message;
  MetaDecoder in(meta, body, message);
  Catalog& catalog = out.catalog;
  catalog.version = message.version();
  in.each("topics", message.topics(), 0, limits::kMaxTopics,
          [&](const wire::Topic& topic) { catalog.topics.push_back(from_wire(in, topic)); });
  in.each("groups", message.groups(), 0, limits::kMaxGroups,
          [&](const wire::Group& group) { catalog.groups.push_back(from_wire(in, group)); });
  return in.finish();
}

void encode(const CreateTopicRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::CreateTopicRequest message;
  message.set_name(value.name);
  message.set_partitions(value.partitions);
  if (value.policy) to_wire(*value.policy, *message.mutable_policy());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, CreateTopicRequest& out) {
  wire::CreateTopicRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  out.partitions =
      in.number<std::uint32_t>("partitions", message.partitions(), 1, limits::kMaxPartitions);
  if (message.has_policy()) out.policy = from_wire(in, message.policy());
  return in.finish();
}

void encode(const CreateTopicReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::CreateTopicReply message;
  to_wire(value.topic, *message.mutable_topic());
  message.set_created(value.created);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, CreateTopicReply& out) {
  wire::CreateTopicReply message;
  MetaDecoder in(meta, body, message);
  out.topic = from_wire(in, message.topic());
  out.created = message.created();
  return in.finish();
}

void encode(const AlterTopicRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::AlterTopicRequest message;
  message.set_name(value.name);
  to_wire(value.policy, *message.mutable_policy());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, AlterTopicRequest& out) {
  wire::AlterTopicRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  // A policy that is left out is not one of zeros.
  if (message.has_policy()) out.policy = from_wire(in, message.policy());
  return in.finish();
}

void encode(const AlterTopicReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::AlterTopicReply message;
  to_wire(value.topic, *message.mutable_topic());
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, AlterTopicReply& out) {
  wire::AlterTopicReply message;
  MetaDecoder in(meta, body, message);
  out.topic = from_wire(in, message.topic());
  return in.finish();
}

void encode(const DescribeTopicRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::DescribeTopicRequest message;
  message.set_name(value.name);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, DescribeTopicRequest& out) {
  wire::DescribeTopicRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  return in.finish();
}

void encode(const DescribeTopicReply& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::DescribeTopicReply message;
  to_wire(value.topic, *message.mutable_topic());
  for (const PartitionStatus& status : value.partitions) {
    wire::PartitionStatus& added = *message.add_partitions();
    added.set_partition(status.partition.value);
    added.set_start(static_cast<std::uint64_t>(status.start.value));
    added.set_end(static_cast<std::uint64_t>(status.end.value));
    added.set_bytes(status.bytes);
  }
  for (const std::string& group : value.groups) message.add_groups(group);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, DescribeTopicReply& out) {
  wire::DescribeTopicReply message;
  MetaDecoder in(meta, body, message);
  out.topic = from_wire(in, message.topic());
  in.each("partitions", message.partitions(), 0, limits::kMaxPartitions,
          [&](const wire::PartitionStatus& status) {
            out.partitions.push_back({in.partition(status.partition()),
                                      in.offset("start", status.start()),
                                      in.offset("end", status.end()), status.bytes()});
          });
  in.each("groups", message.groups(), 0, limits::kMaxGroups,
          [&](const std::string& name) { out.groups.push_back(in.required_name("name", name)); });
  return in.finish();
}

void encode(const DeleteTopicRequest& value, ByteVector& meta, std::vector<SharedBytes>&) {
  wire::DeleteTopicRequest message;
  message.set_name(value.name);
  append_meta(message, meta);
}

Reply<void> decode(Bytes meta, const SharedBytes& body, DeleteTopicRequest& out) {
  wire::DeleteTopicRequest message;
  MetaDecoder in(meta, body, message);
  out.name = in.required_name("name", message.name());
  return in.finish();
}

void encode(const DeleteTopicReply&, ByteVector&, std::vector<SharedBytes>&) {}

Reply<void> decode(Bytes meta, const SharedBytes& body, DeleteTopicReply&) {
  wire::DeleteTopicReply message;
  MetaDecoder in(meta, body, message);
  return in.finish();
}

}  // namespace waybill
