#include "tests/fuzz/message_mutator.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace mptd::fuzz {
namespace {

constexpr size_t kMostBytes = 80;
constexpr int kDeepest = 4;

}  // namespace

void MessageMutator::Collect(Message& message, std::vector<Message*>& out) {
  out.push_back(&message);
  const auto* reflection = message.GetReflection();
  std::vector<const Field*> set;
  reflection->ListFields(message, &set);
  for (const Field* field : set) {
    if (field->cpp_type() != Field::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      Collect(*reflection->MutableMessage(&message, field), out);
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      Collect(*reflection->MutableRepeatedMessage(&message, field, i), out);
    }
  }
}

void MessageMutator::Mutate(Message& message) {
  std::vector<Message*> all;
  Collect(message, all);
  Message& chosen = *all[Below(all.size())];
  const auto* descriptor = chosen.GetDescriptor();
  if (descriptor->field_count() == 0) return;
  const Field& field = *descriptor->field(static_cast<int>(Below(static_cast<size_t>(descriptor->field_count()))));
  if (field.is_repeated()) {
    MutateRepeated(chosen, field);
  } else {
    MutateField(chosen, field);
  }
}

void MessageMutator::MutateField(Message& message, const Field& field) {
  const auto* reflection = message.GetReflection();
  if (reflection->HasField(message, &field) && Below(4) == 0) {
    reflection->ClearField(&message, &field);
  } else {
    SetValue(message, field, /*add=*/false);
  }
}

void MessageMutator::MutateRepeated(Message& message, const Field& field) {
  const auto* reflection = message.GetReflection();
  const int size = reflection->FieldSize(message, &field);
  if (size == 0 || Below(3) == 0) {
    SetValue(message, field, /*add=*/true);
    return;
  }
  const int i = static_cast<int>(Below(static_cast<size_t>(size)));
  switch (Below(3)) {
    case 0:
      reflection->SwapElements(&message, &field, i, size - 1);
      reflection->RemoveLast(&message, &field);
      break;
    case 1:
      reflection->SwapElements(&message, &field, i, static_cast<int>(Below(static_cast<size_t>(size))));
      break;
    default:  // a copy, so that something comes twice
      if (field.cpp_type() == Field::CPPTYPE_MESSAGE) {
        reflection->AddMessage(&message, &field)->CopyFrom(reflection->GetRepeatedMessage(message, &field, i));
      } else if (field.cpp_type() == Field::CPPTYPE_STRING) {
        std::string bytes = reflection->GetRepeatedString(message, &field, i);
        if (Below(2) == 0) bytes = SomeBytes(std::move(bytes));
        reflection->AddString(&message, &field, std::move(bytes));
      }
  }
}

void MessageMutator::SetValue(Message& message, const Field& field, bool add) {
  const auto* reflection = message.GetReflection();
  switch (field.cpp_type()) {
    case Field::CPPTYPE_STRING:
      if (add) {
        reflection->AddString(&message, &field, SomeBytes(""));
      } else {
        reflection->SetString(&message, &field, SomeBytes(reflection->GetString(message, &field)));
      }
      break;
    case Field::CPPTYPE_UINT64:
      reflection->SetUInt64(&message, &field, SomeNumber(reflection->GetUInt64(message, &field)));
      break;
    case Field::CPPTYPE_BOOL:
      reflection->SetBool(&message, &field, Below(2) == 0);
      break;
    case Field::CPPTYPE_MESSAGE:
      Fill(*(add ? reflection->AddMessage(&message, &field) : reflection->MutableMessage(&message, &field)), 0);
      break;
    default:
      break;
  }
}

// Half of a new message's fields.
void MessageMutator::Fill(Message& message, int depth) {
  const auto* descriptor = message.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const Field& field = *descriptor->field(i);
    if (Below(2) == 0 || (field.cpp_type() == Field::CPPTYPE_MESSAGE && depth >= kDeepest)) continue;
    SetValue(message, field, field.is_repeated());
  }
}

std::string MessageMutator::SomeBytes(std::string before) {
  if (Below(3) != 0) return known_[Below(known_.size())];
  before.resize(std::min(before.size(), kMostBytes));
  const size_t size = before.size();
  before.resize(kMostBytes);
  before.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(before.data()), size, kMostBytes));
  return before;
}

uint64_t MessageMutator::SomeNumber(uint64_t before) {
  switch (Below(4)) {
    case 0:
      return Below(16);
    case 1:
      return before + 1;
    case 2:
      return before - 1;
    default:
      return uint64_t{random_()} << Below(64);
  }
}

}  // namespace mptd::fuzz
