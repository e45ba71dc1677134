#include "protocol/wire/frame.h"

#include <algorithm>
#include <cstring>

namespace waybill {
namespace {

bool known_type(FrameType type) {
  return type == FrameType::kRequest || type == FrameType::kReply || type == FrameType::kError ||
         type == FrameType::kPush;
}

/// Requests have a number of their own, pushes have none. Credit is not answered and may have none.
bool correlation_fits(const FrameHeader& header) {
  if (header.type == FrameType::kPush) return header.correlation == 0;
  if (header.type == FrameType::kError) return true;
  return header.correlation != 0 || header.kind == RequestKind::kCredit;
}

}  // namespace

Result<FrameHeader> parse_header(Bytes bytes, const FrameRules& rules) {
  ByteReader reader(bytes.first(kFrameHeaderSize));
  FrameHeader header;
  header.length = reader.read<std::uint32_t>();
  header.kind = reader.read<RequestKind>();
  header.type = reader.read<FrameType>();
  header.version = reader.read<std::uint8_t>();
  header.correlation = reader.read<std::uint32_t>();
  header.meta_length = reader.read<std::uint32_t>();

  if (header.length < kFrameHeaderSize - kFrameLengthSize) {
    return {Errc::kMalformedFrame, "the frame's length is less than its header"};
  }
  if (std::uint64_t{header.length} + kFrameLengthSize > rules.max_frame) {
    return {Errc::kFrameTooLarge, "the frame's length is above the limit"};
  }
  if (header.version != rules.version) {
    return {Errc::kUnsupportedVersion, "the frame's version is not the agreed one"};
  }
  if (!known_type(header.type)) return {Errc::kMalformedFrame, "the frame's type is unknown"};
  if (!correlation_fits(header)) {
    return {Errc::kMalformedFrame, "the frame's correlation does not fit its type"};
  }
  if (header.meta_length > header.payload_size()) {
    return {Errc::kMalformedFrame, "the frame's metadata is longer than the frame"};
  }
  if (header.meta_length > limits::kMaxFrameMeta) {
    return {Errc::kFrameTooLarge, "the frame's metadata is above the limit"};
  }
  return header;
}

MutableBytes FrameDecoder::prepare() {
  std::size_t missing = header_ ? header_->payload_size() - filled_ : 0;
  reading_payload_ = missing > wanted_ / 2;
  if (reading_payload_) return {payload_.get() + filled_, missing};

  // What is unread is less than a header: next() has taken the rest.
  WB_ASSERT(end_ - begin_ < kFrameHeaderSize, "prepare() follows a next() that needed more");
  if (capacity_ != wanted_) {
    auto other = std::make_unique_for_overwrite<std::byte[]>(wanted_);
    std::ranges::copy(unread(), other.get());
    read_ahead_ = std::move(other);
    capacity_ = wanted_;
  } else if (begin_ > 0) {
    std::memmove(read_ahead_.get(), read_ahead_.get() + begin_, end_ - begin_);
  }
  end_ -= begin_;
  begin_ = 0;
  return {read_ahead_.get() + end_, capacity_ - end_};
}

void FrameDecoder::commit(std::size_t size) {
  if (reading_payload_) {
    WB_ASSERT(size <= header_->payload_size() - filled_, "more was filled than was prepared");
    filled_ += size;
    wanted_ = kSmallReadAhead;
  } else {
    WB_ASSERT(size <= capacity_ - end_, "more was filled than was prepared");
    end_ += size;
    wanted_ = end_ == capacity_ ? kReadAhead : kSmallReadAhead;
  }
}

Result<std::optional<Frame>> FrameDecoder::next() {
  if (error_) return *error_;
  if (!header_) {
    if (end_ - begin_ < kFrameHeaderSize) return std::optional<Frame>{};
    Result<void> begun = begin_frame();
    if (!begun) {
      error_ = begun.error();
      return *error_;
    }
  }
  take_from_read_ahead();
  std::size_t size = header_->payload_size();
  if (filled_ < size) return std::optional<Frame>{};

  Frame frame;
  frame.header = *header_;
  if (size > 0) {
    Bytes view(payload_.get(), size);
    frame.payload = SharedBytes(std::move(payload_), view);
  }
  header_.reset();
  payload_.reset();
  return std::optional<Frame>(std::move(frame));
}

Result<void> FrameDecoder::begin_frame() {
  Result<FrameHeader> header = parse_header(unread().first(kFrameHeaderSize), rules_);
  if (!header) return header.error();
  begin_ += kFrameHeaderSize;
  header_ = *header;
  filled_ = 0;
  // Uninitialised on purpose: a peer that announces 9 MiB and sends nothing costs address space.
  if (header->payload_size() > 0) {
    payload_ = std::make_shared_for_overwrite<std::byte[]>(header->payload_size());
  }
  return {};
}

void FrameDecoder::take_from_read_ahead() {
  std::size_t size = std::min(header_->payload_size() - filled_, end_ - begin_);
  if (size > 0) std::memcpy(payload_.get() + filled_, read_ahead_.get() + begin_, size);
  filled_ += size;
  begin_ += size;
}

std::size_t OutFrame::size() const {
  std::size_t size = head.size();
  for (const SharedBytes& piece : body) size += piece.size();
  return size;
}

void finish_frame(OutFrame& frame, FrameHeader header) {
  WB_ASSERT(frame.head.size() >= kFrameHeaderSize, "the header's place is left free");
  std::size_t size = frame.size();
  WB_ASSERT(size <= UINT32_MAX, "a frame's length fits 32 bits");
  ByteVector bytes;
  bytes.reserve(kFrameHeaderSize);
  ByteWriter writer(bytes);
  writer.write(static_cast<std::uint32_t>(size - kFrameLengthSize));
  writer.write(header.kind);
  writer.write(header.type);
  writer.write(header.version);
  writer.write(header.correlation);
  writer.write(static_cast<std::uint32_t>(frame.head.size() - kFrameHeaderSize));
  std::ranges::copy(bytes, frame.head.begin());
}

}  // namespace waybill
