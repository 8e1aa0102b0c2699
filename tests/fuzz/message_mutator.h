// Mutates protobuf messages by their fields, so that what a fuzzer tries is a message still: sets, clears and changes
// fields, adds, removes and copies elements, and moves values from one place to another. One thread.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "google/protobuf/message.h"

namespace mptd::fuzz {

class MessageMutator {
 public:
  // `known` are byte strings that mean something to what is fuzzed.
  MessageMutator(uint32_t seed, std::vector<std::string> known) : random_(seed), known_(std::move(known)) {}

  // One change, somewhere in `message` or in a message below it.
  void Mutate(google::protobuf::Message& message);

 private:
  using Message = google::protobuf::Message;
  using Field = google::protobuf::FieldDescriptor;

  size_t Below(size_t n) { return random_() % n; }
  static void Collect(Message& message, std::vector<Message*>& out);
  void MutateField(Message& message, const Field& field);
  void MutateRepeated(Message& message, const Field& field);
  void SetValue(Message& message, const Field& field, bool add);
  void Fill(Message& message, int depth);
  std::string SomeBytes(std::string before);
  uint64_t SomeNumber(uint64_t before);

  std::minstd_rand random_;
  const std::vector<std::string> known_;
};

}  // namespace mptd::fuzz
