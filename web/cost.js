// Pure: what an endpoint costs, worked out as the component library does. A test runs both on the same cases.

const FACTORS = { "": 1, m: 0.001, Mi: 1, Gi: 1024 };

/** A Kubernetes quantity as a number: "500m" is 0.5, "2Gi" is 2048 (MiB). */
export function quantity(text) {
  const match = /^([0-9]+(?:\.[0-9]+)?)(m|Mi|Gi|)$/.exec(String(text));
  return match ? Number(match[1]) * FACTORS[match[2]] : undefined;
}

/** How many replicas a machine takes; 0 where not even one fits. */
export function packed(hardware, machine) {
  const fits = Math.min(Math.floor(machine.vcpus / hardware.cpu), Math.floor((machine.memory_gib * 1024) / hardware.memory_mib));
  return hardware.gpus ? Math.min(fits, Math.floor(machine.gpus / hardware.gpus)) : fits;
}

/**
 * {floor, ceiling, hour, machine, packed} in US dollars, floor and ceiling a month; null where there is no price. `hardware`:
 * {preset, cpu, memory_mib}, the last two only where they replace the preset's. `scaling`: {min_replicas, max_replicas}.
 */
export function cost(prices, hardware, scaling) {
  const preset = prices?.presets[hardware?.preset];
  if (!preset) return null;
  const asked = { ...preset, ...Object.fromEntries(Object.entries(hardware).filter(([, value]) => value !== undefined)) };
  for (const name of preset.instance_types) {
    const machine = prices.instances[name];
    const many = machine ? packed(asked, machine) : 0;
    if (!many) continue;
    const month = (replicas) => Math.round(Math.ceil(replicas / many) * machine.usd_per_hour * prices.hours_per_month * 100) / 100;
    return { floor: month(scaling.min_replicas), ceiling: month(scaling.max_replicas), hour: machine.usd_per_hour, machine: name, packed: many };
  }
  return null;
}
