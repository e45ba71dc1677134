// Goal: an answer about dead letters fits a frame whatever they hold, and keeps what matters most.
// Method: the largest replies that the limits allow, cut to fit.
#include "broker/core/reply_bounds.h"

#include <gtest/gtest.h>

namespace waybill {
namespace {

DeadLetterVersion version(std::uint32_t number, std::size_t value_size) {
  DeadLetterVersion version;
  version.version = number;
  version.message.value = ByteVector(value_size);
  return version;
}

ShowDeadLetterReply reply_of(std::uint32_t count, std::size_t value_size) {
  ShowDeadLetterReply reply;
  for (std::uint32_t i = 0; i < count; ++i) reply.versions.push_back(version(i, value_size));
  reply.summary.versions = count;
  return reply;
}

std::vector<std::uint32_t> numbers(const ShowDeadLetterReply& reply) {
  std::vector<std::uint32_t> numbers;
  for (const DeadLetterVersion& version : reply.versions) numbers.push_back(version.version);
  return numbers;
}

TEST(ReplyBounds, WhatFitsStaysWhole) {
  ShowDeadLetterReply reply = reply_of(8, 1024 * 1024);
  fit_frame(reply);
  EXPECT_EQ(numbers(reply), (std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  ShowDeadLetterReply none;
  fit_frame(none);
  EXPECT_TRUE(none.versions.empty());
}

TEST(ReplyBounds, TheNewestVersionsAndTheOriginalStayAndTheCountIsTold) {
  ShowDeadLetterReply reply = reply_of(12, 2 * 1024 * 1024);
  fit_frame(reply);
  EXPECT_EQ(numbers(reply), (std::vector<std::uint32_t>{0, 9, 10, 11}));
  EXPECT_EQ(reply.summary.versions, 12u);
}

TEST(ReplyBounds, TheNewestAlwaysFits) {
  ShowDeadLetterReply reply = reply_of(3, limits::kMaxMessage);
  reply.summary.key = ByteVector(limits::kMaxMessage);
  fit_frame(reply);
  EXPECT_EQ(numbers(reply), std::vector<std::uint32_t>{2});
}

TEST(ReplyBounds, ManyHeadersCountAsMetadata) {
  ShowDeadLetterReply reply = reply_of(200, 10);
  for (DeadLetterVersion& version : reply.versions) {
    version.message.headers.push_back({"h", ByteVector(limits::kMaxHeaderBytes - 1)});
  }
  fit_frame(reply);
  EXPECT_LT(reply.versions.size() * limits::kMaxHeaderBytes, limits::kMaxFrameMeta);
  EXPECT_GT(reply.versions.size(), 50u);
  EXPECT_EQ(reply.versions.front().version, 0u);
  EXPECT_EQ(reply.versions.back().version, 199u);
}

TEST(ReplyBounds, TheMostFrequentFingerprintsStay) {
  ListDeadLettersReply reply;
  for (std::uint64_t i = 0; i < 1500; ++i) reply.fingerprints.push_back({i, i % 3 + 1, {}});
  fit_frame(reply);
  ASSERT_EQ(reply.fingerprints.size(), 1000u);
  EXPECT_EQ(reply.fingerprints[499].count, 3u);
  EXPECT_EQ(reply.fingerprints[999].count, 2u);
}

TEST(ReplyBounds, AListOfProducersIsWholeOrRefusedWithTheNumbers) {
  ListProducersReply reply;
  ProducerInfo producer;
  producer.name = std::string(limits::kMaxText, 'n');
  producer.positions.resize(100);
  reply.producers.assign(limits::kMaxDurableProducers, producer);
  EXPECT_TRUE(check_fits(reply).ok());
  reply.producers[0].positions.resize(101'000);
  Reply<void> refused = check_fits(reply);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kMessageTooLarge);
  EXPECT_TRUE(refused.error().explanation.contains("200900")) << refused.error().explanation;
}

}  // namespace
}  // namespace waybill
