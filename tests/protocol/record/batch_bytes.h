// Batches for the tests, made without the code under test where that matters: golden files, and a
// header around any body with a right CRC.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/checksum.h"
#include "protocol/record/batch_builder.h"
#include "protocol/record/record_batch.h"

namespace waybill {

/// tests/golden/record_<name>.hex: hex pairs, "#" begins a comment.
inline ByteVector golden_batch(std::string_view name) {
  std::ifstream file(std::string(WAYBILL_SOURCE_DIR "/tests/golden/record_") + std::string(name) +
                     ".hex");
  EXPECT_TRUE(file.is_open()) << name;
  ByteVector bytes;
  std::string line;
  while (std::getline(file, line)) {
    std::string_view hex = std::string_view(line).substr(0, line.find('#'));
    for (std::size_t i = 0; i + 1 < hex.size() && hex[i] != ' '; i += 3) {
      bytes.push_back(
          static_cast<std::byte>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
    }
  }
  return bytes;
}

inline ByteVector bytes_of(std::initializer_list<unsigned> values) {
  ByteVector bytes;
  for (unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

inline ByteVector concat(std::initializer_list<Bytes> parts) {
  ByteVector all;
  for (Bytes part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

/// Makes the CRC right again after a change.
inline void seal(ByteVector& batch) {
  store_big(batch.data() + batch_layout::kCrc,
            crc32c(Bytes(batch).subspan(batch_layout::kAttributes)));
}

struct RawBatch {
  std::int16_t attributes = 0;
  std::int32_t last_offset_delta = 0;
  std::int64_t base_timestamp = 1000;
  std::int32_t record_count = 1;
};

/// A header, with a right length and CRC, around whatever `body` is.
inline ByteVector raw_batch(Bytes body, RawBatch fields = {}) {
  namespace layout = batch_layout;
  ByteVector batch(layout::kHeaderSize);
  batch.insert(batch.end(), body.begin(), body.end());
  std::byte* data = batch.data();
  store_big(data + layout::kLength, static_cast<std::int32_t>(batch.size() - layout::kLengthStart));
  store_big(data + layout::kMagic, layout::kMagicV2);
  store_big(data + layout::kAttributes, fields.attributes);
  store_big(data + layout::kLastOffsetDelta, fields.last_offset_delta);
  store_big(data + layout::kBaseTimestamp, fields.base_timestamp);
  store_big(data + layout::kRecordCount, fields.record_count);
  seal(batch);
  return batch;
}

/// A batch of the drafts, which must be allowed.
inline ByteVector build_batch(const std::vector<RecordDraft>& drafts, Codec codec = Codec::kNone) {
  BatchBuilder builder(codec);
  for (const RecordDraft& draft : drafts) EXPECT_TRUE(builder.add(draft).ok());
  return builder.build();
}

inline const std::vector<Codec>& all_codecs() {
  static const std::vector<Codec> codecs{Codec::kNone, Codec::kGzip, Codec::kSnappy, Codec::kLz4,
                                         Codec::kZstd};
  return codecs;
}

}  // namespace waybill
