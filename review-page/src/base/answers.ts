/** What the server answers, as far as the page reads it: see `/api/openapi.json`. */

/** [row, col], 0-based pixels of the stored frame, centres on integers. */
export type Point = [row: number, col: number];
export type ReviewState = "new" | "in_progress" | "done";
export type ResultKind = "original" | "mine";
export type LayerName = "raw" | "subtracted" | "corrected";

export interface SessionAnswer {
  reader: string;
  csrf: string;
  unblinded: boolean;
  sources_given: boolean;
  version: string;
}

export interface CaseRow {
  id: string;
  kind: "run" | "follow_up";
  subject: string;
  date: string;
  label: string;
  analysed: boolean;
  problem: string | null;
  findings: number;
  likely_feeders: number;
  flags: string[];
  state: ReviewState;
  edits: number;
  thumbnail: boolean;
}

export interface WorklistAnswer {
  total: number;
  offset: number;
  cases: CaseRow[];
  indexing: boolean;
}

export interface Facets {
  subjects: number;
  kinds: Record<string, number>;
  states: Record<string, number>;
  flags: Record<string, number>;
}

export interface LinkedCase {
  id: string | null;
  relation: "before" | "after" | "projection";
  document: number;
  sentence: string;
  picture: boolean;
}

export interface CaseAnswer {
  row: CaseRow;
  source: { available: boolean; sentence: string };
  results: ResultKind[];
  pictures: string[];
  masks: string[];
  maps: string[];
  linked: LinkedCase[];
  quality_sentences: string[];
  reference_frame: number | null;
  software: string | null;
}

export interface GreyWindow {
  center: number;
  width: number;
}

export interface LayerInfo {
  slope: number;
  intercept: number;
  unit: string;
  window: GreyWindow;
  dark_is_contrast: boolean;
}

export interface FramesAnswer {
  state: "ready" | "preparing" | "unavailable";
  sentence: string;
  rows: number;
  columns: number;
  frames: number;
  times_s: (number | null)[];
  pose_deg: [number, number] | null;
  spacing_mm: [number, number] | null;
  reference_frame: number | null;
  mask_frames: number[];
  layers: Partial<Record<LayerName, LayerInfo>>;
  /** Layers that are still being prepared. */
  coming: LayerName[];
}

export interface CurveAnswer {
  times_s: (number | null)[];
  unit: string;
  pixels?: number;
  curves: { label: string; values: (number | null)[] }[];
}

export interface SnapAnswer {
  found: boolean;
  sentence: string;
  centreline: Point[];
  branch_start: Point | null;
  gap_px: number | null;
}

export interface Target {
  row: number;
  col: number;
  diameter_mm: number | null;
  diameter_px: number;
  path_length_mm: number | null;
  non_target_fraction: number | null;
  covers?: string[];
  corrected?: string | null;
}

export interface Feeder {
  id: string;
  probability: number;
  contribution: number | null;
  centreline: Point[];
  branch_start: Point;
  diameter_mm: number | null;
  diameter_px: number | null;
  arrival_s: number | null;
  overlap_ambiguous: boolean;
  target: Target | null;
  evidence?: Record<string, number | null> | null;
  corrected?: string | null;
  two_views?: { probability: number | null; reason: string } | null;
}

export interface Tumour {
  id: string;
  centroid: Point;
  area_mm2: number | null;
  area_px: number;
  probability: number;
  origin: string;
  feeders: Feeder[];
  targets: Target[];
  corrected?: string | null;
}

export interface Shunt {
  kind: string;
  probability: number;
  row: number;
  col: number;
  arrival_s: number | null;
}

export type PhaseName = "pre_contrast" | "arterial" | "parenchymal" | "venous";

export interface Analysis {
  image: { rows: number; columns: number; frames: number; spacing_plane: string; calibration?: string | null };
  subtraction: { reference_frame: number; residual_before: number | null; residual_after: number | null };
  phases: Partial<Record<PhaseName, [number, number] | null>>;
  catheter_tip: { row: number; col: number; probability: number } | null;
  tumours: Tumour[];
  shunts: Shunt[];
  quality: string[];
  quality_sentences?: string[];
  /** The edits that this analysis was made with. */
  corrections?: { id: string }[];
}

export interface TumourPlace {
  id?: string;
  point?: Point;
}

export interface FeederPlace extends TumourPlace {
  branch_start?: Point;
}

interface EditBase {
  id: string;
  time: string;
  reference_frame?: number | null;
}

export type Edit = EditBase &
  (
    | { kind: "accept_feeder" | "reject_feeder"; tumour: TumourPlace; feeder: FeederPlace }
    | { kind: "add_feeder"; tumour: TumourPlace; click: Point }
    | { kind: "move_target"; tumour: TumourPlace; feeder?: FeederPlace | null; origin?: Point | null; to: Point }
    | { kind: "add_tumour"; polygons?: Point[][] | null; mask?: string | null }
    | { kind: "redraw_tumour"; tumour: TumourPlace; polygons?: Point[][] | null; mask?: string | null }
    | { kind: "remove_tumour"; tumour: TumourPlace }
    | ({ kind: "set_phase"; not_seen: string[] } & Partial<Record<PhaseName, [number, number] | null>>)
    | { kind: "note"; text: string; point?: Point | null }
    | { kind: "redraw_lesion"; lesion: string; planes: { z: number; polygons: Point[][] }[] }
  );

type WithoutBase<T> = T extends unknown ? Omit<T, "id" | "time" | "reference_frame"> : never;
/** An edit before the page has given it its id and time. */
export type EditWords = WithoutBase<Edit>;

export interface CorrectionsAnswer {
  reader: string;
  revision: number;
  state: ReviewState;
  edits: Edit[];
  can_undo: boolean;
  can_redo: boolean;
  draft: string;
  updated: string | null;
}

export interface AuditLine {
  seq: number;
  at: string;
  reader: string;
  revision: number | null;
  action: string;
  before: unknown;
  after: unknown;
}

export interface JobAnswer {
  id: string;
  state: "waiting" | "running" | "done" | "failed";
  done: number;
  total: number;
  sentence: string;
  not_applied: string[];
}

export interface ScanInfo {
  index: number;
  date: string;
  days: number | null;
  modality: string;
  deposits: string[];
  slice_views: Record<string, number>;
  alignment: {
    method: string;
    shown: "reference" | "rigid" | "table" | "none";
    sentence: string;
    correlation: number | null;
    bend_mm: number | null;
    views: number[];
  };
}

export interface LesionTimepoint {
  date: string;
  days: number | null;
  modality: string;
  iodine_mg: number | null;
  iodine_mg_interval: [number, number] | null;
  oil_ml: number | null;
  retention: number | null;
  retention_interval: [number, number] | null;
  coverage: Record<string, number> | null;
  pattern: string | null;
  completeness: string | null;
  quality_sentences?: string[];
}

export interface Kinetics {
  model: string;
  half_life_days: number | null;
  half_life_interval: [number | null, number | null] | null;
  curve_days?: number[] | null;
  curve_retention?: number[] | null;
}

export interface Lesion {
  id: string;
  centroid_mm: [number, number, number] | null;
  timepoints: LesionTimepoint[];
  kinetics: Kinetics | null;
  quality_sentences?: string[];
}

export interface ResponseDocument {
  baseline_date: string | null;
  reason: string;
  timepoints: {
    date: string;
    days: number | null;
    /** Before response can be assessed. */
    too_early?: boolean;
    calls: Record<string, string | null>;
    reasons: { name: string; sentence: string; value: number | null; unit: string | null }[];
  }[];
  best: { name: string; call: string | null; sentence: string }[];
}

export interface FollowUpAnswer {
  state: "ready" | "preparing" | "unavailable";
  sentence: string;
  shape: [number, number, number] | null;
  affine: number[][] | null;
  window: GreyWindow;
  slope: number;
  intercept: number;
  scans: ScanInfo[];
  lipiodol: { lesions: Lesion[]; quality_sentences?: string[] };
  response: ResponseDocument | null;
}
