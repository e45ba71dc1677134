// The frame: the unit of the conversation, and the only thing the transport has to know.
//
//    0        4      6     7       8             12            16
//   +--------+------+-----+-------+-------------+-------------+---------------+---------+
//   | length | kind | type|version| correlation | meta_length | meta (proto3) | body    |
//   |  u32   | u16  | u8  |  u8   |     u32     |     u32     | meta_length   | the rest|
//   +--------+------+-----+-------+-------------+-------------+---------------+---------+
//            |<------------------------------ length ---------------------------------->|
//
// Little-endian. No I/O here: FrameDecoder says where to read to and hands out frames; an OutFrame
// is written with one gathered write. A decoder belongs to one connection and one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "protocol/base/bytes.h"
#include "protocol/base/limits.h"
#include "protocol/base/result.h"
#include "protocol/base/shared_bytes.h"
#include "protocol/wire/request_kind.h"
#include "protocol/wire/version.h"

namespace waybill {

inline constexpr std::size_t kFrameHeaderSize = 16;
/// `length` counts what comes after itself.
inline constexpr std::size_t kFrameLengthSize = 4;

enum class FrameType : std::uint8_t { kRequest = 0, kReply = 1, kError = 2, kPush = 4 };

struct FrameHeader {
  std::uint32_t length = 0;
  RequestKind kind = RequestKind::kNone;  ///< may be a number that this version does not know
  FrameType type = FrameType::kRequest;
  std::uint8_t version = kHelloVersion;
  std::uint32_t correlation = 0;
  std::uint32_t meta_length = 0;

  /// Meta and body: what follows the header.
  [[nodiscard]] std::size_t payload_size() const {
    return length + kFrameLengthSize - kFrameHeaderSize;
  }
};

/// What a connection accepts now. Starts as the rules before hello; raised after it.
struct FrameRules {
  std::size_t max_frame = limits::kMaxHelloFrame;  ///< the whole frame, its length field included
  std::uint8_t version = kHelloVersion;            ///< every frame carries exactly this
};
inline FrameRules rules_after_hello(std::uint8_t version) {
  return {limits::kMaxFrame, version};
}

/// Checks the first kFrameHeaderSize bytes of a frame; `bytes` holds at least those. An unknown
/// kind is no error here: it is answered with kUnknownRequest and the conversation goes on. All
/// errors of this function close the connection.
Result<FrameHeader> parse_header(Bytes bytes, const FrameRules& rules);

/// A received frame. Body slices share its one allocation.
struct Frame {
  FrameHeader header;
  SharedBytes payload;

  [[nodiscard]] Bytes meta() const { return payload.view().first(header.meta_length); }
  [[nodiscard]] SharedBytes body() const {
    return payload.slice(header.meta_length, payload.size() - header.meta_length);
  }
};

/// Turns a stream of bytes into frames. The usual loop:
///
///   while (true) {
///     Result<std::optional<Frame>> frame = decoder.next();
///     if (!frame) -> say the error, close
///     if (*frame) { handle(**frame); continue; }
///     size_t n = read_some(decoder.prepare());   // one read may bring many small frames
///     decoder.commit(n);
///   }
///
/// Small frames are copied once out of the read-ahead buffer, which grows when a read fills it and
/// shrinks again; the rest of a large one is read straight into its own allocation, which is made
/// only after its length was checked and is not touched before its bytes arrive.
class FrameDecoder {
 public:
  explicit FrameDecoder(FrameRules rules = {}) : rules_(rules) {}

  /// For the frames that follow. Hello and the frames behind it may already lie in the buffer: call
  /// this before the next next().
  void set_rules(FrameRules rules) { rules_ = rules; }

  /// Where the next bytes of the stream go; never empty. Requires that next() said "need more".
  MutableBytes prepare();
  /// The first `size` bytes of what prepare() gave were filled.
  void commit(std::size_t size);

  /// The next frame, nothing if more bytes are needed, or an error, which stays.
  Result<std::optional<Frame>> next();

  /// True between two frames: the peer may end the stream here.
  [[nodiscard]] bool at_boundary() const { return !header_ && begin_ == end_; }

 private:
  /// After a read that was filled: more is there.
  static constexpr std::size_t kReadAhead = 64 * 1024;
  /// Else: what a connection costs that says nothing, of which there may be thousands. What is
  /// between the two takes one read more.
  static constexpr std::size_t kSmallReadAhead = 1024;

  [[nodiscard]] Bytes unread() const { return {read_ahead_.get() + begin_, end_ - begin_}; }
  Result<void> begin_frame();
  void take_from_read_ahead();

  FrameRules rules_;
  std::optional<Error> error_;
  std::unique_ptr<std::byte[]> read_ahead_;  ///< [begin_, end_) is unread
  std::size_t capacity_ = 0;
  std::size_t wanted_ = kSmallReadAhead;  ///< its capacity from the next read on
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::optional<FrameHeader> header_;  ///< of the frame that is being filled
  std::shared_ptr<std::byte[]> payload_;
  std::size_t filled_ = 0;
  bool reading_payload_ = false;  ///< what prepare() gave was the payload's own memory
};

/// A frame to send: header and meta in one run, then the body's pieces untouched.
struct OutFrame {
  ByteVector head;
  std::vector<SharedBytes> body;

  [[nodiscard]] std::size_t size() const;
};

/// Writes the header into the first kFrameHeaderSize bytes of `frame.head`, which the caller left
/// free; `length` and `meta_length` are computed. The sum of the sizes fits 32 bits.
void finish_frame(OutFrame& frame, FrameHeader header);

}  // namespace waybill
