// What grpc.health.v1 says, by name. Safe from any thread.
#pragma once

namespace mptd::cli {

// grpc.health.v1.HealthCheckResponse.ServingStatus.
inline constexpr int kServing = 1;

inline const char* HealthName(int serving_status) {
  switch (serving_status) {
    case kServing:
      return "SERVING";
    case 2:
      return "NOT_SERVING";
    case 3:
      return "SERVICE_UNKNOWN";
    default:
      return "UNKNOWN";
  }
}

}  // namespace mptd::cli
